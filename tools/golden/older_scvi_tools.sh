#!/bin/sh
# Saves models with older versions of scvi-tools: `sh tools/golden/older_scvi_tools.sh PY FOLDER [VERSION]`, PY a Python 3.11.
# FOLDER/python is made with the packages of requirements-older.txt (5 GB with torch); each version stands in a folder of its
# own with the pytorch-lightning of its time, and its models in FOLDER/VERSION. Then SCGRAFT_PUBLISHED=FOLDER/VERSION cargo test
# -p scgraft-hub --test parity -- --nocapture.
set -e
base=$1 FOLDER=$2 only=$3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$FOLDER/packages"
FOLDER=$(cd "$FOLDER" && pwd) PY=$FOLDER/python/bin/python
[ -x "$PY" ] || "$base" -m venv "$FOLDER/python"
# Old pytorch-lightning says torch>=1.7.*, which newer pips refuse to read.
"$PY" -m pip install -q --no-cache-dir "pip<24.1"
"$PY" -m pip install -q --no-cache-dir -r "$here/requirements-older.txt"
add() { into=$1; shift; "$PY" -m pip install -q --no-cache-dir --no-deps --upgrade --target "$FOLDER/packages/$into" "$@"; }
add common sparse==0.19.3 xarray==2023.12.0 tensorboard werkzeug grpcio markdown tensorboard-data-server absl-py protobuf
# Python 3.11 formats members of an Enum that is text in another way, and old pytorch-lightning counts on the old one.
cat > "$FOLDER/packages/common/sitecustomize.py" <<'END'
import enum

import tqdm.auto  # noqa: F401

own = enum.Enum.__format__
enum.Enum.__format__ = lambda self, spec: format(self.value, spec) if isinstance(self, str) else own(self, spec)
END
names="scvi_default scvi_mapping scvi_covariates_deep linear_default scanvi_mapping totalvi_default" failed=
make() { # version, packages beside it
  version=$1; shift
  [ -z "$only" ] || [ "$only" = "$version" ] || return 0
  add "$version" "scvi-tools==$version" "$@"
  echo "scvi-tools $version"
  # shellcheck disable=SC2086
  PYTHONPATH="$FOLDER/packages/$version:$FOLDER/packages/common" CUDA_VISIBLE_DEVICES="" \
    "$PY" -W ignore "$here/published_models.py" --all --only $names -- "$FOLDER/$version" || failed="$failed $version"
}
# In 0.8.1 itself a model with continuous covariates cannot be made: it compares their names by a method that arrays lack.
all=$names names="scvi_default scvi_mapping linear_default scanvi_mapping totalvi_default"
make 0.8.1
names=$all
make 0.10.1 pytorch-lightning==1.2.10 torchmetrics==0.2.0 pyDeprecate==0.3.0 "setuptools<70"
make 0.12.2 pytorch-lightning==1.3.8 torchmetrics==0.4.1 pyDeprecate==0.3.0 "setuptools<70"
make 0.14.6 pytorch-lightning==1.4.9 torchmetrics==0.5.1 pyDeprecate==0.3.1
make 0.15.5 pytorch-lightning==1.5.10 torchmetrics==0.6.2 pyDeprecate==0.3.1
make 0.17.4 pytorch-lightning==1.7.7 torchmetrics==0.9.3 pyDeprecate==0.3.1
make 0.20.3 pytorch-lightning==1.9.5 lightning-utilities
make 1.0.4
make 1.1.6.post2
make 1.2.2.post2 anndata==0.11.4 array-api-compat
make 1.3.3 anndata==0.11.4 array-api-compat
[ -z "$failed" ] || { echo "not every model was made with:$failed"; exit 1; }
