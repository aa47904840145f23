"""Serves requests with numbers of replicas that a policy changes: events a request, a fluid of tokens for the answers.

Both stages are queues in the order of arrival, served by whichever replica is free first, exact to the request. Running
sequences share their replicas evenly, in steps of at most `run.STEP_S`. Seeded; nothing is lost, what waits is served late.
"""
