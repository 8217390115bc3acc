"""`python -m emozoo`, which `accelerate launch -m emozoo train ...` and torchrun start in each process."""

from emozoo.cli import main

if __name__ == "__main__":
    main()
