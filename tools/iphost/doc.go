// Command iphost is an ENGAGE IP host: gateways connect to it, their events are
// kept, and integrators reach every gateway through its broker. One host alone
// needs nothing else; several join over NATS.
//
//	iphost run --state DIR                    serve until interrupted
//	iphost site add NAME [--key-file FILE]    make a site key, printed once
//	iphost token add NAME [--site SITE]       make a broker's token, printed once
//	iphost gateway list                       who is connected, and where
//
// README.md has keys, tokens, TLS, and more than one machine.
package main
