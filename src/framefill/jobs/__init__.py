"""Jobs: from a file to a filled file, for clips of any length, in constant memory, and again after a kill.

`settings` says what is wanted, `runner.run` does it, `record` tells what was done; `folder` keeps what an interrupted run has finished.
"""
