#!/usr/bin/env bash
# Debian packages that Python packages cannot bring: system-packages.sh program | tests
# Installs what is missing where that is allowed, else says what to type. Other systems pass by.
set -euo pipefail
# For Open3D's window and OpenCV.
packages=(libusb-1.0-0 libegl1 libgl1 libglib2.0-0)
if [ "${1:-program}" = tests ]; then
  # A virtual display and real keys, a program that plays and cuts films, and a browser.
  packages+=(xvfb xdotool ffmpeg chromium)
fi
command -v dpkg-query >/dev/null || exit 0
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" -eq 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
fi
echo "missing, and not installed from here: sudo apt install ${missing[*]}" >&2
if [ "${1:-program}" = tests ]; then
  echo "tests that need them are skipped or fail" >&2
fi
