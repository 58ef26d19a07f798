"""
A Google Cloud project in memory, with the `gcloud`, `bq` and `sleep` that work on it.

The tools answer in the words, on the streams and with the exit codes of the real ones (SDK 528),
for the commands that deploy/ uses. Any other command or option ends with 99 and fails the test.

project.py has a project's state, call.py one command while it runs, kinds.py what all kinds of
resources can do, and a file for each service the rest. logs.py has log entries and the language of
their filters, faults.py has what goes wrong, and server.py
serves projects to the tools on a test's PATH.
"""
