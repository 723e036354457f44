package guest

// Numbers of the NICs of machines that work together: client and balancer share
// a wire, balancer and backend another.
const (
	ClientNIC  = 20
	NearNIC    = 21 // of the balancer, to the client
	FarNIC     = 22 // of the balancer, to the backend
	BackendNIC = 23
)
