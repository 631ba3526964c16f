"""Programs of other people that label faces, each in an environment of its own, and what is made of their labels.

Nothing of theirs is imported here: they are called through the contest's interface, run_model.py IMAGE_LIST OUTPUT_DIR.
"""
