"""`make bench-autoscaling`: policies that scale the two sides of a service, judged on the same traffic by a simulator.

`site` holds measured speeds and start times, `traces` makes traffic, `simulator` serves it, `policies` decide the numbers
of replicas from what an operator would have seen, `judge` turns the outcomes into tables, plots and goals.
"""
