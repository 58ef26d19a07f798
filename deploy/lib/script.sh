# What every script says of itself: its help, and how it ends when something is wrong.
# shellcheck shell=bash

# script::usage: print the header comment of the running script.
script::usage() {
  sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# script::fail MESSAGE: print what is wrong on standard error, and end.
script::fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# script::bad_usage MESSAGE: print what is wrong with the arguments on standard error, and end.
script::bad_usage() {
  printf '%s: %s\n\n' "${0##*/}" "$1" >&2
  script::usage >&2
  exit 2
}
