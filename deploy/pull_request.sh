#!/usr/bin/env bash
# What GitHub's gh does with the figures of a training run (build/metrics-diff.md, of `make metrics-diff`).
#   pull_request.sh propose       opens a pull request with the new dvc.lock; says so where it has not changed
#   pull_request.sh comment       puts the figures into the pull request: PULL_REQUEST, else the one of this branch
set -euo pipefail
figures=build/metrics-diff.md

propose() {
  if git diff --quiet -- dvc.lock; then
    echo "dvc.lock is as before: nothing to propose"
    return
  fi
  local branch
  branch=retrained/$(date -u +%Y-%m-%d-%H%M)
  git switch --quiet --create "$branch"
  git -c user.name=netwarden -c user.email=netwarden@users.noreply.github.com \
    commit --quiet --message "Retrained on $(date -u +%Y-%m-%d)" -- dvc.lock
  gh auth setup-git
  git push --quiet --set-upstream origin "$branch"
  gh pr create --head "$branch" --title "Retrained on $(date -u +%Y-%m-%d)" --body "The pipeline's new lock; figures follow."
}

comment() {
  [ -s "$figures" ] || { echo "$figures is not there: make metrics-diff writes it" >&2; exit 2; }
  local target=${PULL_REQUEST:-$(git branch --show-current)}
  if [ -z "${PULL_REQUEST:-}" ] && [[ $target != retrained/* ]]; then
    echo "no pull request to comment on"
    return
  fi
  gh pr comment "$target" --body-file "$figures"
}

"$@"
