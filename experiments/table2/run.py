"""Plan, train and check the runs of Table 2: python experiments/table2/run.py --help"""

import sys

from xxact.experiments.launch import main

if __name__ == "__main__":
    sys.exit(main(__file__))
