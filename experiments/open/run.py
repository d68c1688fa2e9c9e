"""Plan, train and check the runs of the open division: python experiments/open/run.py --help"""

import sys

from xxact.experiments.launch import main

if __name__ == "__main__":
    sys.exit(main(__file__))
