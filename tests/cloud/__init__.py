"""
A Google Cloud project in memory, with the `gcloud`, `bq` and `sleep` that work on it.

The tools answer in the words, on the streams and with the exit codes of the real ones (SDK 528), for
the commands that deploy/ uses. Any other command or option ends with 99 and fails the test.

- project.py: the state of a project, and what is to go wrong.
- call.py: one command while it runs, the table of commands, and how results are printed.
- kinds.py: what all kinds of resources can do: describe, get-iam-policy, add-iam-policy-binding.
- a file for each service, with what only it can do.
- server.py: serves projects to the tools on a test's PATH.
- scripts.py: runs the scripts of deploy/ on a project.
"""
