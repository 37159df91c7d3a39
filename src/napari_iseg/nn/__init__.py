"""Networks: torch modules and nothing else, no files, no viewer."""
