"""Plan, train and check the scaling experiment: python experiments/scaling/run.py --help"""

import sys

from xxact.experiments.launch import main

if __name__ == "__main__":
    sys.exit(main(__file__))
