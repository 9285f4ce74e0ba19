"""What people look at: the monitor (static files, served by the ingress) and the studio (Gradio).

``monitor/`` holds plain files without a build step. Of the modules only ``studio_page`` and
``studio_app`` need the extra ``ui``; nothing outside this package imports them.
"""
