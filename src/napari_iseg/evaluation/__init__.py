"""Measuring click models: data sets, the published click protocol, baselines, reports."""
