"""Reference -> ONNX artifacts in a store. Needs torch; the engines that run them do not.

``vision`` and ``language`` build one role's artifact each; ``graph`` holds what they share.
"""
