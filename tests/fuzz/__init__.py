"""A seeded fuzzer of the command line: real verbs on damaged inputs, under one rule.

Whatever the input, a call ends with exit code 0, 1 or 2, says at least one sentence when it fails, shows no traceback,
changes no input, and replaces no earlier result.

    python -m tests.fuzz --minutes 20 --seed 1      tries cases until the time is up
    python -m tests.fuzz --seed 1 --case 1234       one of them again, with all that it printed
"""
