"""Write the 51 facial landmarks of every face: python run_model.py IMAGE_LIST OUTPUT_DIR"""

import sys
from pathlib import Path

from runtime.main import main

if __name__ == "__main__":
    sys.exit(main(folder=Path(__file__).resolve().parent))
