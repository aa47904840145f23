"""The Kopf edge: watch events become keys in the work queue, and nothing else.

Kopf is the watcher and the process frame. It writes nothing: no annotation, no finalizer, no Event. Called by
`__main__` only.
"""
