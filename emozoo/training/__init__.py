"""Training: the loop on accelerate, the objective, checkpoints that resume exactly, and the record of a run."""
