"""What a run will need, said before it is started: memory, time and disk.

config      what the user says of devices, lengths and efficiencies (conf/base/parameters_plan.yml)
devices     published figures of devices
shape       the model: exact counts from its configuration, built on torch's meta device
lengths     how long episodes are: assumed, or read from a run's recorded steps
case        one configuration on some devices: what all arithmetic reads, and what advice varies
habits      how the code allocates and what it computes: the assumptions to mend when the code changes
activations, memory, flops, seconds, disk      the arithmetic
advice      what would make it fit, found by trying
document    the plan as JSON, as a table for the log, and in Markdown
"""
