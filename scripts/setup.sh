# What ./run, ./test and .ci/run share: find what the project needs, install what is missing.
# Sourced by bash, from the root of the tree. Messages go to stderr; a failure names the remedy.
#
# Settings (environment):
#   STOCKLOG_TOOLS   where a uv of our own is put (default: ~/.local/share/stocklog/tools;
#                    for root /usr/local/lib/stocklog/tools, so that other users can run it too)

UV_VERSION=0.13.9      # the version that is installed where there is none
UV_OLDEST=0.6          # the oldest one that is used when it is already there

say() { printf '%s\n' "$*" >&2; }
fail() { say "$0: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }

TOOLS=${XDG_DATA_HOME:-$HOME/.local/share}/stocklog/tools BIN=$HOME/.local/bin
if [ "$(id -u)" = 0 ]; then TOOLS=/usr/local/lib/stocklog/tools BIN=/usr/local/bin; fi
TOOLS=${STOCKLOG_TOOLS:-$TOOLS}

python_works() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
venv_works() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
pip_works() { python3 -m pip --version >/dev/null 2>&1; }

# uv_works COMMAND: whether it runs and is new enough. A pyenv shim may exist and not run.
uv_works() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#uv }; version=${version%% *}
  [ "$(printf '%s\n%s\n' "$UV_OLDEST" "$version" | sort -V | head -n 1)" = "$UV_OLDEST" ]
}

uv_found() { uv_works uv || uv_works "$TOOLS/bin/uv"; }

# Where stocklog itself looks for RabbitMQ (src/stocklog/broker), in short.
rabbitmq_found() {
  local place
  for place in "${RABBITMQ_HOME:-/nowhere}/sbin" /usr/lib/rabbitmq/bin \
      /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin \
      /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
    [ -x "$place/rabbitmq-server" ] && return 0
  done
  command -v rabbitmq-server >/dev/null 2>&1
}

# Prints the Debian packages that are missing. A user's own broker ($STOCKLOG_URI) needs no RabbitMQ.
missing_packages() {
  python_works || printf 'python3 '
  if ! uv_found && ! venv_works && ! pip_works; then printf 'python3-venv '; fi
  if [ -z "${STOCKLOG_URI:-}" ] && ! rabbitmq_found; then printf 'rabbitmq-server '; fi
}

# install_packages NAME...: with apt-get, as root or through sudo. Returns 1 where neither is possible.
install_packages() {
  command -v apt-get >/dev/null 2>&1 || return 1
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || return 1
    # Without a terminal sudo could only wait for a password that nobody types.
    if [ -t 0 ]; then as_root=(sudo); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else return 1; fi
  fi
  say "Installing with apt-get: $*"
  "${as_root[@]}" bash scripts/apt-install.sh "$@"
}

need_packages() {
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086  # a list of package names
  if ! install_packages $missing; then
    if command -v apt-get >/dev/null 2>&1; then
      fail "missing: $missing" "Install it as root, then come back (the script keeps Debian from starting a public node):" \
        "  sudo bash $PWD/scripts/apt-install.sh $missing"
    fi
    fail "missing: $missing" "Install Python 3.11 or newer (with venv) and RabbitMQ 3.9 or newer," \
      "for example on macOS: brew install python rabbitmq uv"
  fi
  python_works || fail "this system's python3 is older than 3.11" "stocklog needs Python 3.11 or newer (Debian 12, 13)."
}

# Puts a working uv first on PATH, and into the user's own bin folder so that `uv` can be typed later.
need_uv() {
  if ! uv_found; then
    say "Installing uv $UV_VERSION in $TOOLS"
    if venv_works; then
      python3 -m venv --clear "$TOOLS" && "$TOOLS/bin/python" -m pip install -q --disable-pip-version-check "uv==$UV_VERSION"
    else  # pip without venv: a target folder is allowed also where the system's Python is externally managed
      rm -rf "$TOOLS" && python3 -m pip install -q --disable-pip-version-check --target "$TOOLS" "uv==$UV_VERSION"
    fi || fail "uv could not be installed" "See the message above; or install uv yourself: https://docs.astral.sh/uv"
  fi
  if ! uv_works uv; then
    PATH="$TOOLS/bin:$PATH"
    export PATH
    uv_works uv || fail "$TOOLS/bin/uv does not run" "Delete $TOOLS and try again."
    offer_uv
  fi
  # A system Python that is new enough is used; nothing is downloaded behind the user's back.
  if python_works; then export UV_PYTHON_DOWNLOADS=never; fi
}

offer_uv() {
  if [ ! -e "$BIN/uv" ] && [ ! -L "$BIN/uv" ]; then
    mkdir -p "$BIN" && ln -s "$TOOLS/bin/uv" "$BIN/uv" && say "uv can now be typed as a command: $BIN/uv"
  fi
  case ":$PATH:" in
    *":$BIN:"*) ;;
    *) say "To type uv yourself, log in anew or type: export PATH=\"$BIN:\$PATH\"" ;;
  esac
}
