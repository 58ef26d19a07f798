# What gcloud and bq answer when something is wrong: the status, what it may be worth waiting for, and
# what to do.
# shellcheck shell=bash

# answer::reason OUTPUT: print the error in a tool's output, on one line and without the tool's own words
# before it.
answer::reason() {
  awk '
    /^(ERROR: |BigQuery error in |Error in query string)/ { found = 1 }
    { all = all $0 " " }
    found { error = error $0 " " }
    END {
      text = error ? error : all
      gsub(/[ \t\r\n\f\v]+/, " ", text)
      text = substr(text, 1, 600)
      sub(/^ /, "", text)
      sub(/ $/, "", text)
      sub(/^ERROR: (\(gcloud[^)]*\) )?/, "", text)
      sub(/^(BigQuery error in [a-z -]+ operation|Error in query string): /, "", text)
      sub(/^Error processing job \047[^\047]*\047: /, "", text)
      sub(/^Query error: /, "", text)
      while (match(text, /[a-z0-9]- [a-z0-9]/)) # bq breaks lines, also after a dash
        text = substr(text, 1, RSTART + 1) substr(text, RSTART + 3)
      print text
    }' <<<"$1"
}

# answer::status REASON: print NOT_FOUND, DENIED, DISABLED (an API), EXISTS or BUSY; nothing for another
# error. Only the place where the tools put a status counts: a name may hold any word.
answer::status() {
  local text=$1 denied='^\[[^]]*\] does not have permission to access '
  local absent='^(gs://[^ ]+ not found: 404|[A-Za-z][A-Za-z ]* \[[^]]*\] not found)'
  case $text in
    NOT_FOUND* | 'Not Found: '* | 'Not found: '* | 'HTTPError 404'* | 'ResponseError: status=[404]'* | \
      'OperationError: code=5,'* | 'Cannot find '* | 'The following URLs matched no objects'*)
      echo NOT_FOUND
      return
      ;;
    PERMISSION_DENIED* | 'Forbidden: '* | 'Access Denied: '* | 'HTTPError 403'* | \
      'ResponseError: status=[403]'* | 'OperationError: code=7,'*)
      denied=.
      ;;
    ALREADY_EXISTS* | 'Already Exists: '*)
      echo EXISTS
      return
      ;;
    'ResponseError: status=[409]'* | 'HTTPError 409'* | 'Conflict: '* | *'is the subject of a conflict'*)
      # Somebody else changes it at the same moment, or an operation runs, unless it says this:
      if [[ $text =~ already|exists|'not available' ]]; then echo EXISTS; else echo BUSY; fi
      return
      ;;
    ABORTED* | RESOURCE_EXHAUSTED* | UNAVAILABLE* | INTERNAL* | DEADLINE_EXCEEDED* | \
      'Precondition Failed: '* | 'Too Many Requests: '* | 'Internal Server Error: '* | 'Bad Gateway: '* | \
      'Service Unavailable: '* | 'Gateway Timeout: '* | 'HTTPError 412'* | 'HTTPError 429'* | 'HTTPError 5'* | \
      'ResponseError: status=[412]'* | 'ResponseError: status=[429]'* | 'ResponseError: status=[5'* | \
      'OperationError: code=4,'* | 'OperationError: code=8,'* | 'OperationError: code=10,'* | \
      'OperationError: code=13,'* | 'OperationError: code=14,'* | \
      'Exceeded rate limits'* | 'Job exceeded rate limits'* | 'Quota exceeded'* | 'Backend Error'* | \
      'An internal error occurred'* | 'Error encountered during execution. Retrying'* | 'Could not connect with BigQuery'*)
      echo BUSY
      return
      ;;
  esac
  if [[ $text =~ $absent ]]; then
    echo NOT_FOUND
  elif [[ $text =~ $denied ]]; then
    case $text in
      *SERVICE_DISABLED* | *accessNotConfigured* | *' API has not been used in project '*) echo DISABLED ;;
      *) echo DENIED ;;
    esac
  fi
}

# answer::delay REASON COMMAND…: print what a command that failed may be waiting for. Return 1 if waiting
# does not help: the API is not enabled, the binding is not there, there is no such account.
# A role takes typically two minutes to be in force, and up to seven or more; a new API some five:
# https://docs.cloud.google.com/iam/docs/access-change-propagation
answer::delay() {
  local status account api
  status=$(answer::status "$1")
  if [[ $status == BUSY ]]; then
    case $1 in
      *'unable to queue'*) echo "an earlier change of $function still runs" ;;
      *'oncurrent'* | *'HTTPError 412'* | *'Precondition Failed'*) echo "somebody else changes the same thing" ;;
      *) echo "Google's service is busy" ;;
    esac
  elif [[ $status == DISABLED ]]; then
    api=$(grep -oE '[a-z]+\.googleapis\.com' <<<"$1" | head -n 1) || return 1
    project::has_api "$api" || return 1
    echo "$api was enabled a moment ago, and does not work yet"
  elif grep -qiE "actAs|act as service account|account .*(not found|does not exist)|unknown service account|invalid (service )?account" <<<"$1"; then
    account=$(grep -oE "[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com" <<<"$*" | head -n 1) || return 1
    iam::is_ours "$account" || return 1
    case $1 in *actAs* | *'act as service account'*) iam::may_act_as "$account" || return 1 ;; esac
    echo "$account is new, and not visible everywhere yet"
  elif grep -qiE 'eventarc\.events\.receiveEvent|eventarc service (agent|account)|unable to publish to cloud pub/sub|build service account|grant storage object viewer permission to|retrieve the repository metadata|take a few minutes to propagate' <<<"$1"; then
    echo "a role that was granted a moment ago is not in force yet"
  elif [[ $1 == *'annot find metric'* ]]; then
    echo "the metric is new, and not visible yet"
  else
    return 1
  fi
}

# answer::remedy REASON: print what to do about an error, as the end of a sentence.
answer::remedy() {
  local api
  case $(answer::status "$1") in
    DENIED) echo ": ask an owner of $GCP_PROJECT_ID to run it" ;;
    DISABLED)
      api=$(grep -oE '[a-z]+\.googleapis\.com' <<<"$1" | head -n 1) || true
      echo ": gcloud services enable ${api:-<API>} --project=$GCP_PROJECT_ID"
      ;;
    BUSY) echo ": run it again later; it goes on where it was" ;;
  esac
}
