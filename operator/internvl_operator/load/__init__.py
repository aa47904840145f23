"""`internvl load`: an open-loop load on any server that speaks OpenAI's chat completions, and what callers saw.

Open-loop: requests go out when the plan says, whether or not earlier ones were answered, and every latency is
counted from that moment. A slow server so cannot hide its slowness by slowing the load. Called by `cli` only; knows
nothing of the operator, of Ray or of Kubernetes.
"""
