"""The trading environment behind OpenEnv's protocol: sessions over a WebSocket, each with an episode of its own."""
