// Builds the program that holds a pod's namespaces on the nodes of the tests; see e2e/cluster/binaries.py.
module internvl.io/e2e/cluster/pause

go 1.26.0
