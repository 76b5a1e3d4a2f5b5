Map call(Map args = [:]) {
    return bgciRun('publish', args)
}
