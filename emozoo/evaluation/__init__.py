"""Running a model over a dataset, measuring it, and showing what came out."""
