"""Looking at this machine: what it can run (``doctor``) and how well (``check-gpu``).

Probes here find facts out, each with one foreign library at most; what follows from the facts is
decided in ``serve_app.core`` (``doctor``, ``check``). Nothing here is imported by the service.
"""
