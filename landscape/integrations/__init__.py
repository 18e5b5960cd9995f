"""Recording from within other people's training loops: `lightning` and `huggingface`.

Neither library is imported until its module is, and neither is needed by the rest of the package.
"""
