"""The traffic laboratory: real programs on real TCP stacks in network namespaces, recorded with ground truth."""
