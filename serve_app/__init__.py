"""vibevoice-serve: long scripts in up to four voices, spoken by many cards at once.

The way of a script, and the module that owns each step::

    text --core.script--> turns --core.segment, core.plan--> segments with cost, key and seed
         --fanout--> replicas (synth), each a shim over an engine (engines/) on one card
         --core.stitch--> one signal in order --encode--> bytes --ingress--> the listener

``errors`` is the one tree of what can go wrong, ``config`` the only reader of settings,
``app`` binds the Ray Serve application, ``cli`` is the command ``vibevoice-serve``.
``core`` imports neither Ray nor an engine nor HTTP; ``serve_app`` may import ``telemetry``,
never the other way round. This file imports nothing, so that naming one part loads no other.
"""
