package config

// The raw sections of the parts that talk to the outside (raw.go).

type rawSwordfish struct {
	At    at
	Auth  text      `key:"auth" def:"enforce" enum:"none|report|enforce" doc:"what happens to a lock that does not authenticate itself"`
	Calls *rawCalls `key:"calls" doc:"time of the night in which Wi-Fi locks are asked to call, spread over it"`
}

type rawCalls struct {
	At    at
	Start daytime `key:"start" def:"00:00" ex:"\"00:00\"" doc:"start, in the site's zone"`
	End   daytime `key:"end" def:"04:00" ex:"\"04:00\"" doc:"end, later on the same day"`
}

type rawGateway struct {
	At    at
	Local flag `key:"local" def:"false" doc:"answer on the HTTPS listener too"`
}

type rawUplink struct {
	At        at
	ServerURL text `key:"server_url" req:"y" check:"uplink-url" ex:"\"https://iphost.example:8080/engage_wss\"" doc:"the host's WebSocket"`
	CAURL     text `key:"ca_url" check:"http-url" ex:"\"http://iphost.example:8081/engage/newCA/current\"" doc:"where its root certificate is fetched and pinned"`
	Start     text `key:"start" def:"now" enum:"now|oldest" doc:"the first event that a new host gets"`
	KeepAlive dur  `key:"keep_alive" def:"60s" min:"5s" max:"1h" doc:"time between TCP keep-alives"`
	Proxy     text `key:"proxy" off:"y" check:"proxy-url" ex:"\"http://proxy.example:3128\"" doc:"HTTP proxy (CONNECT) to the host; that of the environment when absent"`
}

type rawMQTT struct {
	At          at
	Broker      text `key:"broker" req:"y" check:"mqtt-url" ex:"\"mqtts://broker.example:8883\"" doc:"the broker"`
	TopicPrefix text `key:"topic_prefix" def:"gatehouse" check:"topic" doc:"first part of every topic"`
}

type rawBACnet struct {
	At            at
	UUID          text `key:"uuid" def:"auto" check:"uuid" doc:"identity of the server; auto makes one and keeps it"`
	TokenLifetime dur  `key:"token_lifetime" def:"24h" min:"1m" max:"30d" doc:"life of an access token"`
}

type rawPresence struct {
	At at
}

type rawNotify struct {
	At           at
	ID           text   `key:"id" req:"y" check:"id" ex:"night-desk" doc:"id of the receiver"`
	On           []text `key:"on" check:"kind" ex:"[door_forced, door_held]" doc:"kinds of events; all alarms but duress when absent"`
	Webhook      text   `key:"webhook" check:"http-url" ex:"\"https://desk.example/hook\"" doc:"URL that is called"`
	Mail         []text `key:"mail" off:"y" check:"mail" ex:"[desk@site.example]" doc:"addresses that get a mail; wants smtp"`
	SMTP         text   `key:"smtp" off:"y" check:"hostport" ex:"\"mail.site.example:587\"" doc:"mail server"`
	From         text   `key:"from" off:"y" check:"mail" ex:"gatehouse@site.example" doc:"address that mail comes from; mail wants it"`
	User         text   `key:"user" off:"y" check:"label" ex:"gatehouse" doc:"name to sign in at the mail server with; wants password_file"`
	PasswordFile text   `key:"password_file" off:"y" check:"path" ex:"smtp.password" doc:"file with the password: one line, mode 0600; text: before it is taken off"`
	SecretFile   text   `key:"secret_file" off:"y" check:"path" ex:"hook.secret" doc:"file with the secret that signs a webhook's calls: hex digits, or text: and its characters; at least 16 bytes, mode 0600"`
}
