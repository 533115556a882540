"""Run a mergekit configuration. Executed by the oracles' own Python, not by pytest.

usage: run_mergekit.py CONFIGURATION_JSON OUT
"""

import json
import sys
import time

from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

configuration = MergeConfiguration.model_validate(json.loads(sys.argv[1]))
began = time.perf_counter()
run_merge(
    configuration, sys.argv[2], MergeOptions(copy_tokenizer=False, random_seed=0, quiet=True, write_model_card=False)
)
print(json.dumps({"seconds": time.perf_counter() - began}))
