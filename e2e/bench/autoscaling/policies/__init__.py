"""The rules that are compared: ours as it is in the operator, peers by their published rules, and plans that know more.

Each module has a rule for one side, its defaults, and the settings that tuning tries.
"""
