/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http - requests to droverd over its UNIX socket, by libcurl.
 *
 * The server's errors are {"code", "text"}: the code is the exit code of the
 * command, so the two sides cannot disagree about what a failure means.
 */
#include "cmd/drover/drover.h"

#include "base/unix_socket.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (16u << 20)
#define CONNECT_TIMEOUT_MS 3000L

struct http {
	CURL *curl;
	struct curl_slist *headers;
	char socket_path[108];
};

struct answer {
	char *text;
	size_t len;
	bool too_long;
};

struct http *http_open(const char *socket_path, uint32_t timeout_s)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	snprintf(h->socket_path, sizeof(h->socket_path), "%s", socket_path);
	curl_global_init(CURL_GLOBAL_NOTHING);
	h->curl = curl_easy_init();
	h->headers = curl_slist_append(NULL, "Expect:");
	if (!h->curl) {
		http_close(h);
		return NULL;
	}
	curl_easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, h->socket_path);
	curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)timeout_s * 1000);
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(h->curl, CURLOPT_PATH_AS_IS, 1L); /* ".." is for droverd to refuse */
	return h;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	curl_slist_free_all(h->headers);
	if (h->curl)
		curl_easy_cleanup(h->curl);
	free(h);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t len = size * n;
	char *grown;

	if (a->len + len > ANSWER_MAX) {
		a->too_long = true;
		return 0;
	}
	grown = realloc(a->text, a->len + len + 1);
	if (!grown)
		return 0;
	a->text = grown;
	memcpy(a->text + a->len, data, len);
	a->len += len;
	return len;
}

/* Why nobody could be reached at @path: asked again without libcurl, which only says that. */
static int why_not(const char *path)
{
	int fd = unix_socket_connect(path, NULL);

	if (fd < 0)
		return -fd;
	close(fd);
	return 0;
}

static int not_reached(const char *path, struct err *e)
{
	int why = why_not(path);
	struct stat st;

	if (why == EACCES || why == EPERM)
		err_set(e, -why, "%s: permission denied: only root and the members of its group may use it", path);
	else if (why == ENOENT)
		err_set(e, -why, "droverd is not running on this host, or waits for corosync (%s does not exist)", path);
	else if (why == ECONNREFUSED && stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		err_set(e, -why, "%s: is not a socket", path);
	else if (why == ECONNREFUSED)
		err_set(e, -why, "droverd is not running on this host (nobody listens at %s)", path);
	else if (why == EAGAIN || why == 0)
		err_set(e, -EAGAIN, "droverd is busy: %s took no connection; try again", path);
	else
		err_set(e, -why, "%s: %s", path, strerror(why));
	return EXIT_ERROR;
}

static int failed(struct http *h, CURLcode rc, struct err *e)
{
	switch (rc) {
	case CURLE_COULDNT_CONNECT:
		return not_reached(h->socket_path, e);
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		err_set(e, -ECONNRESET, "droverd hung up without an answer; what was asked may still happen");
		return EXIT_ERROR;
	case CURLE_OPERATION_TIMEDOUT:
		err_set(e, -ETIMEDOUT, "droverd did not answer in time");
		return EXIT_TIMEOUT;
	default:
		err_set(e, -EIO, "talking to droverd: %s", curl_easy_strerror(rc));
		return EXIT_ERROR;
	}
}

/* What an answer that is not 200 says. */
static int refused(json_t *o, long status, struct err *e)
{
	int code = (int)num_of(o, "code");

	if (*str_of(o, "text"))
		err_set(e, -EIO, "%s", str_of(o, "text"));
	else
		err_set(e, -EIO, "droverd answered with HTTP status %ld", status);
	return code >= EXIT_ERROR && code <= EXIT_REFUSED ? code : EXIT_ERROR;
}

/* Is @o what docs/openapi.yaml says of @path?  Of something else a table of nothing would be shown. */
static bool is_answer(const char *path, const json_t *o)
{
	static const char *const lists[] = { "domains", "nodes", "ha/groups", "cpus" };
	bool list = strncmp(path, "history", 7) == 0;
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list |= strcmp(path, lists[i]) == 0;
	return list ? json_is_array(o) : json_is_object(o);
}

int http_request(struct http *h, const char *method, const char *path, const char *body,
		 size_t len, json_t **out, struct err *e)
{
	struct answer a = { 0 };
	char url[512];
	json_t *o = NULL;
	long status = 0;
	CURLcode rc;
	int code;

	if (out)
		*out = NULL;
	snprintf(url, sizeof(url), "http://droverd/v1/%s", path);
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
	if (strcmp(method, "GET") == 0) {
		curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
		curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, NULL);
	} else {
		curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)len);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body ? body : "");
		curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
	}
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, &a);
	rc = curl_easy_perform(h->curl);
	if (rc != CURLE_OK) {
		free(a.text);
		return failed(h, rc, e);
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	o = a.text ? json_loadb(a.text, a.len, 0, NULL) : NULL;
	free(a.text);
	if (status == 200 && o && (strcmp(method, "GET") != 0 || is_answer(path, o))) {
		code = EXIT_OK;
	} else if (status == 200 && o) {
		code = EXIT_ERROR;
		err_set(e, -EPROTO, "droverd's answer to %.80s is another kind of JSON than it should be", path);
	} else if (o) {
		code = refused(o, status, e);
	} else {
		code = EXIT_ERROR;
		err_set(e, -EPROTO, "droverd's answer is not JSON (HTTP status %ld)", status);
	}
	if (out && code == EXIT_OK)
		*out = json_incref(o);
	json_decref(o);
	return code;
}
