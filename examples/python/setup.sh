#!/bin/sh
# Makes a virtual environment that holds what requirements.txt lists, and the messages
# of the protocol as Python modules.
#
#   sh setup.sh [FOLDER]     default: .venv beside this file
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
proto=${PROTO:-$here/../../proto}
venv=${1:-$here/.venv}
"${PYTHON3:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$venv/bin/python" -m grpc_tools.protoc -I "$proto" --python_out="$site" --grpc_python_out="$site" "$proto"/weir/plugin/v1/*.proto
