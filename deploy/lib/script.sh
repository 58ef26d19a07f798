# What every script says of itself: its help, how it ends when something is wrong, what it cleans up.
# shellcheck shell=bash

temporary= # a folder that goes when the script ends, also when it is killed
at_exit=() # the functions that clean up, the last one first

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

# script::confirm QUESTION REFUSAL: fail unless somebody says yes.
script::confirm() {
  local answer=''
  [[ -t 0 ]] || script::bad_usage "expected somebody to ask, found no terminal: use --yes"
  read -rp "$1 [y/N] " answer
  [[ $answer == [yY]* ]] || script::fail "$2"
}

# script::at_exit FUNCTION: call a function when the script ends, whatever ends it.
script::at_exit() {
  at_exit=("$1" ${at_exit[@]+"${at_exit[@]}"})
  trap script::clean_up EXIT
}

script::clean_up() {
  local step
  for step in "${at_exit[@]}"; do
    ("$step") || true # the next one cleans up all the same
  done
}

# script::make_temporary: make the folder `temporary`.
script::make_temporary() {
  temporary=$(mktemp -d)
  script::at_exit script::remove_temporary
}

script::remove_temporary() {
  rm -rf "$temporary"
}
