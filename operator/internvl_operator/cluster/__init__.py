"""All input and output: Kubernetes, Ray's REST API, the semantic probe, the Lease.

Only here are foreign libraries' errors caught; they leave as `errors.NotYet` or `errors.Rejected`, or as
values of `plan.observation`. Nothing is decided here: `plan` decides, `reconcile` calls both.
"""
