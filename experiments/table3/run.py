"""Plan, train and check the runs of Table 3: python experiments/table3/run.py --help"""

import sys

from xxact.experiments.launch import main

if __name__ == "__main__":
    sys.exit(main(__file__))
