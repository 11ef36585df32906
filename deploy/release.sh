#!/usr/bin/env bash
# Brings an image to the registry and from there to this machine, always by its digest.
#   release.sh push               pushes netwarden:TAG to REGISTRY/REPOSITORY as TAG, and says its digest
#   release.sh deploy DIGEST      runs it in place of the container that runs, which is kept; goes back to that one by
#                                 itself where the new one is not healthy within HEALTHY_S
#   release.sh rollback           goes back to the container that was kept
# State is in the volume `netwarden`, which every container gets and none takes away.
set -euo pipefail
name=${CONTAINER:-netwarden}
kept=$name-before
say() { echo "$*" >&2; }

push() {
  local target="$REGISTRY/$REPOSITORY:$TAG" digest
  docker tag "netwarden:$TAG" "$target"
  docker push "$target"
  digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$target")
  digest=${digest##*@}
  echo "$digest"
  # Of a step on GitHub; the registry's address is a secret there, so the digest goes alone.
  [ -z "${GITHUB_OUTPUT:-}" ] || echo "digest=$digest" >>"$GITHUB_OUTPUT"
}

deploy() {
  local digest=$1 image
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { say "'$digest' is no digest (sha256:…); a tag may name another image tomorrow"; exit 2; }
  image="$REGISTRY/$REPOSITORY@$digest"
  [ -f "$ENV_FILE" ] || { say "$ENV_FILE is not there; put the settings into it, NETWARDEN_TOKEN first, or set ENV_FILE"; exit 2; }
  docker pull "$image"
  if there "$name"; then
    forget_kept
    docker stop "$name" >/dev/null
    docker rename "$name" "$kept"
  fi
  docker run --detach --name "$name" --restart unless-stopped --ipc=host --env-file "$ENV_FILE" \
    --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges:true \
    --volume netwarden:/var/lib/netwarden --publish "${PUBLISH:-8080:8000}" "$image" >/dev/null
  if healthy; then
    say "$name runs $image; make rollback goes back"
  else
    say "$name is not healthy after ${HEALTHY_S:-120} s; its last words:"
    docker logs --tail 20 "$name" >&2 || true
    if there "$kept"; then rollback; fi
    exit 1
  fi
}

rollback() {
  there "$kept" || { say "nothing to go back to: there is no container $kept"; exit 2; }
  if there "$name"; then docker rm --force --volumes "$name" >/dev/null; fi
  docker rename "$kept" "$name"
  docker start "$name" >/dev/null
  say "$name runs $(docker inspect --format '{{.Config.Image}}' "$name") again"
}

there() { docker container inspect "$1" >/dev/null 2>&1; }

# The container before the one that runs goes, with its image; nothing else of this machine is pruned.
forget_kept() {
  local image
  there "$kept" || return 0
  image=$(docker inspect --format '{{.Image}}' "$kept")
  docker rm --volumes "$kept" >/dev/null # its nameless ones; the state has a name
  docker rmi "$image" >/dev/null 2>&1 || true # the one that runs may be of the same image
}

healthy() {
  local end=$((SECONDS + ${HEALTHY_S:-120}))
  until [ "$(docker inspect --format '{{.State.Health.Status}}' "$name")" = healthy ]; do
    [ $SECONDS -lt $end ] || return 1
    sleep 1
  done
}

"$@"
