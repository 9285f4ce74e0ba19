"""Telemetry: what every card, node and synthesis did, and where it went.

The way of a reading, and the module that owns each step::

    NVML (nvml, its parts nvml_*) or a simulated card (simulated) --threads (sampler)-->
        ring (core.window) and book of faults (core.xid) of the node (node)
        --node's actor (actor), one a node--> cluster view (cluster) --> JSON (body), page
        --card_metrics--> OTLP (otel), each node its own cards

The way of a synthesis, in its replica: a span (spans) and a record (core.sample), which goes to
the node's actor (node_link.NodeLink) and becomes metrics (speech_metrics.SynthesisMetrics) as
declared in instruments. Spans leave over OTLP or into a file (otel, trace_file).

Nothing here imports ``serve_app``. ``core`` is plain Python: no Ray, NVML or OpenTelemetry.
"""
