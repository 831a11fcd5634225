"""The control plane: fabric manager, VM controllers, OpenFlow front ends (paper section 3).

    fm/       intent: entities validated and kept, gRPC door, typed client
    vmc/      intent + physical facts + usage -> flow programs; the core is pure
      models/ the programming models, one class each
    ofe/      OpenFlow sessions; `openflow` alone knows os-ken
    plane     all roles in one process; `python -m controllers` runs it

Imports from the data plane its contract only (`hoverboard.contract`).
"""
