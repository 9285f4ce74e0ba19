"""Telemetry: what every card, node and synthesis did, and where it went.

The way of a reading, and the module that owns each step::

    NVML (nvml) or a simulated card (simulated) --sampler thread (node)--> ring (core.window)
        --node actor (node), one a node--> cluster view (cluster) --> page, JSON
        --instruments as data, otel, spans--> OTLP

Nothing here imports ``serve_app``. ``core`` is plain Python: no Ray, NVML or OpenTelemetry.
"""
