package api

import (
	"fmt"
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// softwareName is what Kafka allows as a client's name or version (KIP-511).
var softwareName = regexp.MustCompile(`\A[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?\z`)

// softwareBytesMax bounds what is kept of a client's name and version for the log.
const softwareBytesMax = 64

// ApiVersions (key 18): what is served, and in which versions.
//
// Behavior:
//   - Lists the table of this package. No feature is claimed: transactions and the new group
//     protocol come later, and a finalized feature makes clients use it.
//   - The response header is version 0 in every version (KIP-511); see Service.Start.
//   - A version that is not known yet is answered in version 0 with UNSUPPORTED_VERSION and this
//     API alone, so that the client asks again in one that is (Service.Start).
//
// Version notes:
//   - v3: flexible; client name and version must look like it, else INVALID_REQUEST
//   - v5: cluster id and node id, both or neither; REBOOTSTRAP_REQUIRED if they are not ours
func (s *Service) apiVersions(c *call, r *kmsg.ApiVersionsRequest) (Reply, error) {
	out := kmsg.NewPtrApiVersionsResponse()
	out.Version = c.Version
	if err := s.checkApiVersions(r); err != nil {
		out.ErrorCode = codeOf(err)
		return ready{Response: out}, nil
	}
	if c.Version >= 3 {
		s.log.Debug("client", zap.String("host", c.session.clientHost),
			zap.String("software", short(r.ClientSoftwareName)),
			zap.String("version", short(r.ClientSoftwareVersion)))
	}
	for _, row := range s.list {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = row.key, row.min, row.max
		out.ApiKeys = append(out.ApiKeys, k)
	}
	// Clients ignore the (empty) list of features at an epoch below 0.
	out.FinalizedFeaturesEpoch = 0
	return ready{Response: out}, nil
}

func (s *Service) checkApiVersions(r *kmsg.ApiVersionsRequest) error {
	if r.Version < 3 {
		return nil
	}
	if !softwareName.MatchString(r.ClientSoftwareName) ||
		!softwareName.MatchString(r.ClientSoftwareVersion) {
		return fmt.Errorf("%w: client software name or version", errInvalidRequest)
	}
	if r.Version < 5 {
		return nil
	}
	if (r.ClusterID == nil) != (r.NodeID == -1) {
		return fmt.Errorf("%w: cluster id and node id go together", errInvalidRequest)
	}
	if r.ClusterID == nil {
		return nil
	}
	if *r.ClusterID != s.o.Replicas.Image().ClusterID() || r.NodeID != s.o.Replicas.NodeID() {
		return fmt.Errorf("%w: another cluster or node was meant", errRebootstrap)
	}
	return nil
}

// unsupportedApiVersions answers a version of the future.
func (s *Service) unsupportedApiVersions() *kmsg.ApiVersionsResponse {
	out := kmsg.NewPtrApiVersionsResponse()
	out.Version = 0
	out.ErrorCode = codeOf(errUnsupportedVersion)
	k := kmsg.NewApiVersionsResponseApiKey()
	own := s.rows[apiVersionsKey]
	k.ApiKey, k.MinVersion, k.MaxVersion = own.key, own.min, own.max
	out.ApiKeys = append(out.ApiKeys, k)
	return out
}

func short(text string) string { return text[:min(len(text), softwareBytesMax)] }
