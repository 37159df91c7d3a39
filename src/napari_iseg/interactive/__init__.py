"""The click loop without a GUI: predictor, session, undo."""
