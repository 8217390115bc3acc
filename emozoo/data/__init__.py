"""From a dataset on disk to batches: reading, preprocessing, augmentation, checks."""
