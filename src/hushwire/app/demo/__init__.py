"""The main job shown and proven with real SIP stacks and real audio: `hushwire demo`."""
