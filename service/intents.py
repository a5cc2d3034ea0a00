"""What the outside may ask for. Each call records an intent in the caller's transaction and starts the run that
carries it out; nothing here talks to hardware. The caller has checked who asks.
"""
